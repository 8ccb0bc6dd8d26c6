"""Where a stack keeps its files."""

from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The folders and files below one root (`.local` unless told otherwise)."""

    root: Path

    @property
    def cache(self) -> Path:
        """Downloads; they outlive `clean`."""
        return self.root / "cache"

    @property
    def runs(self) -> Path:
        """One file a running process, by which it is found again."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One log a process."""
        return self.root / "logs"

    @property
    def secrets(self) -> Path:
        """Passwords, tokens and AppRole ids: a folder of 0600 files."""
        return self.root / "secrets"

    @property
    def options(self) -> Path:
        """What `up` was last told."""
        return self.root / "options.json"

    @property
    def ports(self) -> Path:
        """The ports that were chosen."""
        return self.root / "ports.json"

    @property
    def manifest(self) -> Path:
        """The description of the running stack that users read."""
        return self.root / "stack.json"

    @property
    def demo(self) -> Path:
        """The demo account, made once."""
        return self.root / "demo.json"

    @property
    def stamps(self) -> Path:
        """Hashes of what was last published, so that nothing is published twice."""
        return self.root / "stamps"

    def log(self, name: str) -> Path:
        """The log file of the process `name`."""
        return self.logs / f"{name}.log"

    def data(self, name: str) -> Path:
        """The data folder of the server `name`."""
        return self.root / "data" / name

    def make(self) -> None:
        """Create the folders.

        The root may be passed through by everybody, because PostgreSQL refuses to run as root and
        its unprivileged user must reach its data; what is secret lies in files or folders that
        only their owner opens.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o711)
        (self.root / "data").mkdir(exist_ok=True)
        (self.root / "data").chmod(0o711)
        for folder in (self.runs, self.logs, self.secrets, self.stamps):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)
