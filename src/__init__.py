"""AVIX: parameters of a synthesiser, read off the image of its sound."""

import os

# Before torch loads OpenMP: its threads sleep where they wait for each other, and do not spin. A
# spinning thread takes the core that the other one needs as soon as anything else runs here.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
