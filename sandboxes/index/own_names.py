"""Names of the company's own: who may hear them, and what is said where nobody may.

Asking a public index whether it has `acme-payroll` tells it that there is such a thing. So for a name on the list of
internal names only the upstream that has those is asked, and where there is none, nobody. What was known before
is shown, with its files refused.

Where nothing is known it has to be said without a page. Some clients show why a page is refused; the others take it
for a project that does not exist, so they get a page with one file, which is given to nobody: they want it, ask for
it, and show the reason they get, or, to whoever wants another version, at least its version, which is words.
"""

import hashlib
from typing import Final

from sandboxes.index.page import File, Page
from sandboxes.index.policy.decide import Decision, Verdict
from sandboxes.index.policy.policy import Policy
from sandboxes.index.policy.rules import Finding, Rule
from sandboxes.index.upstreams import Sources
from sandboxes.index.withheld import Withheld

VERSION: Final = "0+name.of.our.own.never.from.outside"  # older than any real one
ANY: Final = "latest"  # what the page that explains is asked about where no version was named
_SHOW_REFUSED_PAGES: Final = ("uv", "poetry")  # tried with uv 0.13 and Poetry 2.4
WITHHELD: Final = Withheld(VERSION, Rule.INTERNAL.value)


def shows_refused_pages(client: str) -> bool:
    """`client`: as `client.py` names it."""
    return client.partition(" ")[0].lower() in _SHOW_REFUSED_PAGES


def sources_of(policy: Policy, project: str) -> Sources:
    """The upstreams from which a project may come by the rule `internal-name`; None: it is no such name."""
    having = {entry.source for entry in policy.internal if entry.pattern.names(project)}
    if not having:
        return None
    return frozenset(having) if len(having) == 1 and "" not in having else frozenset()


def page_of(project: str) -> Page:
    """Of a name that nothing is known of. The file has metadata, so clients ask for those few bytes first."""
    filename = f"{project.replace('-', '_')}-{VERSION}-py3-none-any.whl"
    digest = hashlib.sha256(filename.encode()).hexdigest()
    file = File(filename, VERSION, digest, url="", size=0, metadata_sha256=digest)
    return Page(project, (VERSION,), (file,))


def refusal_of(project: str) -> Decision:
    reason = f"{project} is a name of our own and never comes from outside"
    return Decision(Verdict.REFUSE, (Finding(Rule.INTERNAL, reason),))
