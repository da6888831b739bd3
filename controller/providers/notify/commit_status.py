"""What became of a commit, told to its forge: one POST, shown there beside the commit.

    forge             below the repository's API     a good one, a bad one    the token
    -------------------------------------------------------------------------------------------
    github            statuses/COMMIT                success, failure         Authorization: Bearer
    gitea, forgejo    statuses/COMMIT                success, failure         Authorization: token
    gitlab            statuses/COMMIT                success, failed          PRIVATE-TOKEN
"""

from typing import Final
from urllib.parse import urlsplit

from controller.alerting.message import plain
from controller.errors import Refused
from controller.model.notify.spec import is_local
from controller.providers.notify.secret import read_secret
from controller.providers.notify.webhook import judge
from controller.source.git.trust import ReportSpec
from controller.transport.http import HttpClient
from controller.transport.tls import Trust

WORDS_MAX: Final = 140
"""GitHub takes no more."""
CONTEXT: Final = "hotsite"
ANSWER_S: Final = 10.0


async def post_status(spec: ReportSpec, commit: str, sentence: str, *, good: bool) -> None:
    """Tell a forge what became of a commit.

    Errors: Refused, Unavailable, OutcomeUnknown; telling it again is safe.
    """
    what = f"the {spec.forge} for commit statuses"
    if urlsplit(spec.url).scheme != "https" and not is_local(spec.url):
        raise Refused(f"{what} is reached over http, where all can read its token: write https")
    token = read_secret(spec.token_file, f"the file with the token of {what}")
    gitlab = spec.forge == "gitlab"
    headers = ({"PRIVATE-TOKEN": token} if gitlab else
               {"Authorization": f"{'Bearer' if spec.forge == 'github' else 'token'} {token}"})
    content = {"state": "success" if good else "failed" if gitlab else "failure",
               "name" if gitlab else "context": CONTEXT,
               "description": plain(sentence, WORDS_MAX)}
    client = HttpClient(what, spec.url, Trust(ca_file=spec.ca_file), answer_s=ANSWER_S)
    try:
        judge(await client.ask("POST", f"{spec.url.rstrip('/')}/statuses/{commit}",
                               headers=headers, content=content, only_status=True), what)
    finally:
        await client.close()
