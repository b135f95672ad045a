# SPDX-License-Identifier: GPL-2.0-only
"""What scripts/bench.py is made of."""
