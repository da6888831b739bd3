"""Remove a replica that a newer one elsewhere has replaced."""

from __future__ import annotations

import os
import shutil
from typing import Any, Dict, List

from mover import generations
from mover.errors import Refused
from mover.orders import Orders
from mover.replica import lock, sync_dir
from mover.tenants import tenant_of


def run(words: List[str]) -> Dict[str, Any]:
    """
    Remove the folder of the request {"replica", "store", "uuid"}, which must be STORE/UUID.

    Errors: Refused for another folder, or one that a guest uses; TryAgain while it is worked on.
    """
    request = Orders().request
    root, store, uuid = (str(request[word]) for word in ("replica", "store", "uuid"))
    parts = os.path.normpath(root).split(os.sep)
    if not os.path.isabs(root) or not uuid or parts[-2:] != [store, uuid]:
        raise Refused("%s is not where replicas are kept" % root)
    if not os.path.isdir(root):
        return {"removed": False}
    with lock(root):
        tenant = tenant_of(root)
        if tenant is not None:
            raise Refused("%s is in use by %s: end that first" % (root, tenant))
        generations.forget(root)        # what a crash leaves is no replica
        sync_dir(root)
        shutil.rmtree(root)
    sync_dir(os.path.dirname(root))
    return {"removed": True}
