"""alexnet publish from its first line to its last: read, refused or written, checked, sent."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alexnet.errors import AlexNetError, UsageError
from alexnet.files import refuse_strangers, whole_folder
from alexnet.inference.inputs import as_path
from alexnet.sharing.files import FILES, write_files
from alexnet.sharing.licences import licence as licence_named
from alexnet.sharing.material import material
from alexnet.weights.hub import PREFIX, checked_repository
from alexnet.weights.hub_client import client, endpoint, plain_errors, quiet, status_of

PERHAPS_THERE = (401, 402, 403, 409)  # statuses of a creation that a repository which is there already may get


@dataclass(frozen=True)
class Published:
    """A model that was published, or written to be looked at."""

    name: str  # "hub:owner/name@commit"; without a commit where nothing was sent
    address: str | None  # of its page; None where nothing was sent
    folder: str | None  # where the files were written instead
    public: bool
    licence: str
    sizes: dict[str, int]  # bytes of each file

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def publish(
    run: str | os.PathLike[str],
    repository: str,
    licence: str,
    public: bool = False,
    dry_run: str | os.PathLike[str] | None = None,
) -> Published:
    """Publish a finished run on a hub: weights with their card, two JSON records, and a page.

    repository: "owner/name"; it is made where it is not there. licence: SPDX's identifier, or the hub's name.
    public: for everyone; else for its owner alone. dry_run: a folder to write the files into instead of sending them.
    FileError for what is no finished run, UsageError for a wrong name or licence, AlexNetError for a missing token, a
    hub that refuses, and a file that would tell a place on this machine; nothing is sent then.
    """
    repository, terms = checked_repository(repository.removeprefix(PREFIX)), licence_named(licence)
    client()  # refuses where it is missing
    out = None if dry_run is None else as_path("the folder of the dry run", dry_run)
    if out is None:
        _refuse_without_token()
    else:
        refuse_strangers(out, FILES.__contains__, "folder of alexnet publish")
    found = material(run)
    if out is not None:
        with whole_folder(out) as place:
            write_files(place, found, repository, terms)
            sizes = _sizes(place)
        return Published(f"{PREFIX}{repository}", None, str(out), public, terms, sizes)
    with TemporaryDirectory(prefix="alexnet-publish-") as name:
        write_files(Path(name), found, repository, terms)
        commit = send(Path(name), repository, public, f"{found.card.network}, trained on {found.data}")
        sizes = _sizes(Path(name))
    return Published(f"{PREFIX}{repository}@{commit}", f"{endpoint()}/{repository}", None, public, terms, sizes)


def send(folder: Path, repository: str, public: bool, title: str) -> str:
    """Send a folder's files as one commit, which is returned; the repository is made where it is not there.

    AlexNetError for a hub that refuses or does not answer.
    """
    hub = client()
    with plain_errors(repository, AlexNetError, writing=True), quiet():
        api = hub.HfApi(endpoint=endpoint())
        _make(api, repository, public)
        sent = [hub.CommitOperationAdd(name, str(folder / name)) for name in FILES]
        return str(api.create_commit(repository, sent, commit_message=title).oid)


def _make(api: Any, repository: str, public: bool) -> None:
    """Make the repository; one that is there is kept, if as many may see it as was asked for."""
    try:
        api.create_repo(repository, private=not public, repo_type="model")
        return
    except OSError as error:
        if status_of(error) not in PERHAPS_THERE:
            raise
        private = _private(api, repository, error)
    if private == public:
        seen, advice = ("private", "leave --public out") if private else ("public", "give --public, or another NAME")
        raise UsageError(f"{repository} is there already and is {seen}; {advice}, or change that on its page")


def _private(api: Any, repository: str, refused: Exception) -> bool:
    """Whether a repository is private; `refused`, why it could not be made, where it is not there either."""
    try:
        return bool(api.repo_info(repository, repo_type="model").private)
    except OSError:
        raise refused from None


def _refuse_without_token() -> None:
    if not client().get_token():
        raise AlexNetError(
            "no token is set, and a hub takes models from those alone whom it knows; log in: hf auth login (or set "
            "HF_TOKEN), with a token that may write; --dry-run FOLDER needs none"
        )


def _sizes(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_size for name in FILES}
