"""Setup: answers in, a machine that runs the appliance out. What is right already is left alone."""
