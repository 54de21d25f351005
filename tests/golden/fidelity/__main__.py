"""``python -m tests.golden.fidelity`` writes the errors anew, after a change that was meant to change them."""

from __future__ import annotations

import sys

from sunsim.validation.campaign import committed_campaigns
from sunsim.validation.fidelity import check, errors
from sunsim.validation.live.folder import committed_clusters
from sunsim.validation.live.validate import compared_folder, live_errors
from tests.golden.fidelity.errors import KEPT, complaints, kept, write

if __name__ == "__main__":
    # Campaigns for calibration as well as those for reports.
    now = errors(check(committed_campaigns()))
    now |= live_errors([compared_folder(folder) for folder in committed_clusters()])
    # What becomes worse by being written should not go unseen.
    if KEPT.is_file():
        sys.stdout.write("".join(f"{line}\n" for line in complaints(now, kept())))
    write(now)
    sys.stdout.write(f"{KEPT}\n")
