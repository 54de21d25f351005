"""What a run says: tables and sentences for a terminal, files for everything else."""
