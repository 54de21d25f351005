"""``python -m tests.golden.fidelity`` writes the errors anew, after a change that was meant to change them."""

from __future__ import annotations

import sys

from docs.fidelity import check, cluster_errors, errors
from sunsim.validation.check import check_cluster
from sunsim.validation.folders import committed_campaigns, committed_clusters
from tests.golden.fidelity.errors import KEPT, complaints, kept, write

if __name__ == "__main__":
    # Campaigns for calibration as well as those for reports.
    now = errors(check(committed_campaigns()))
    now |= cluster_errors([check_cluster(cluster) for cluster in committed_clusters()])
    # What becomes worse by being written should not go unseen.
    sys.stdout.write("".join(f"{line}\n" for line in complaints(now, kept())))
    write(now)
    sys.stdout.write("".join(f"{path}\n" for path in KEPT.values()))
