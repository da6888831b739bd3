"""One suite for every provider: what the simulator says must be what real hosts say."""

import pytest

pytest.register_assert_rewrite("tests.conformance.cases", "tests.conformance.replica_cases",
                               "tests.conformance.stage")
