"""What is wrong with rows and files, collected, so that all of it is said at once."""

from dataclasses import dataclass, field

from src.vimh.errors import VIMHError

NAMED = 10  # so many are named, the others counted
LISTED = 100  # so many are listed in a data set's metadata


@dataclass
class Problems:
    """Rows and files that cannot be used, each with its reason.

    Attributes:
        skip: leave them out; False: refuse the import.
        count: how many there are.
        found: the first ones, a sentence each.
    """

    skip: bool
    count: int = 0
    found: list[str] = field(default_factory=list)

    def add(self, where: str, reason: str) -> None:
        """Add one.

        Args:
            where: the file, and the row where there is one.
            reason: what is wrong.
        """
        self.count += 1
        if len(self.found) < LISTED:
            self.found.append(f"{where}: {reason}")

    def check(self) -> None:
        """Refuse the import where nothing is to be left out.

        Raises:
            VIMHError: naming the first problems, with the number of all.
        """
        if not self.count or self.skip:
            return
        more = self.count - NAMED
        rest = f"\n  and {more} more" if more > 0 else ""
        what = "1 problem" if self.count == 1 else f"{self.count} problems"
        raise VIMHError(
            f"{what}; correct them, or leave these files and rows out with skip_broken=true:\n  "
            + "\n  ".join(self.found[:NAMED])
            + rest
        )

    def to_json(self) -> dict[str, object]:
        """Return what a data set's metadata say of what was left out."""
        return {"count": self.count, "first": self.found}
