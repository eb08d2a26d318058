"""The folder that clients name to reach the server's socket.

The socket lies in the cluster. The path of a socket must be short, though, and that of a cluster may be long: then
clients use a link in a private temporary directory. The server itself binds the socket in its working directory. The
path of the link is kept next to the cluster, so that every process gives the same address; the link is created again
when something removed it, under the same path if possible, because running services keep the address they have.
"""

import os
import shutil
import stat
import tempfile
from pathlib import Path

from domain.errors import StoreUnavailableError

# A socket's whole path has to fit in 104 bytes on macOS and 108 on Linux, its name "/.s.PGSQL.5432" included.
_LONGEST = 88


def socket_folder(data_dir: Path, cluster: Path) -> Path:
    """The cluster itself, or the link that stands for it. Call it under the start lock."""
    if _fits(cluster):
        return cluster
    link = _recorded_link(data_dir)
    if link is None or not (_leads_to(link, cluster) or _made_again(link, cluster)):
        link = Path(tempfile.mkdtemp(prefix="keyledger-", dir=_short_area())) / "pg"
        link.symlink_to(cluster)
        _record(data_dir).write_text(str(link))
    return link


def forget_socket_folder(data_dir: Path, cluster: Path) -> None:
    """Remove the link, if there is one and it is ours."""
    link = _recorded_link(data_dir)
    if link is not None and _leads_to(link, cluster):
        shutil.rmtree(link.parent)
    _record(data_dir).unlink(missing_ok=True)


def _record(data_dir: Path) -> Path:
    return data_dir / "postgres.socket"


def _recorded_link(data_dir: Path) -> Path | None:
    try:
        return Path(_record(data_dir).read_text())
    except FileNotFoundError:
        return None


def _leads_to(link: Path, cluster: Path) -> bool:
    """Whether the link is still the one we made: in a directory only we can write to, and pointing at the cluster."""
    try:
        holder = link.parent.lstat()
        return (
            stat.S_ISDIR(holder.st_mode)
            and holder.st_uid == os.geteuid()
            and stat.S_IMODE(holder.st_mode) == 0o700
            and link.readlink() == cluster
        )
    except OSError:
        return False


def _made_again(link: Path, cluster: Path) -> bool:
    """Whether the link could be made again where it was; another account may have taken its name."""
    try:
        link.parent.mkdir(mode=0o700, exist_ok=True)
        link.symlink_to(cluster)
    except OSError:
        return False
    return _leads_to(link, cluster)


def _short_area() -> Path:
    for area in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - mkdtemp makes the directory in it
        if area.is_dir() and _fits(area / "keyledger-12345678" / "pg"):
            return area
    raise StoreUnavailableError(
        "every temporary directory has too long a path for a socket: set DATA_DIR to a shorter path"
    )


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder)) <= _LONGEST
