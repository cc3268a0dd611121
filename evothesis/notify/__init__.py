"""Notify: what happened in, messages out: a signed POST each to a webhook, and one mail with all that is new.

`collect` looks at what the stages left and adds what is worth telling to the outbox; the loader and others add theirs
when it happens. `queue` decides who receives a message, `deliver` sends it until it was taken or given up.
"""
