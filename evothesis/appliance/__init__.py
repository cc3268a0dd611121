"""Appliance: what turns a package into a machine that runs by itself."""
