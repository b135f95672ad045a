# SPDX-License-Identifier: GPL-2.0-only
"""The guest in which page migration is shown and tested, and its host side."""
