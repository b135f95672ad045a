# SPDX-License-Identifier: GPL-2.0-only
"""The host side of the guest in which page migration is shown and tested."""
