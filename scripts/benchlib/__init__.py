# SPDX-License-Identifier: GPL-2.0-only
"""The modules of scripts/bench.py."""
