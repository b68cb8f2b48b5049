"""The one exception that means "the user can mend this".

Everything a person can get wrong (config, data, network, disk, memory) is raised as a `UserError`
whose message is one or two plain lines: what is wrong, where, what to do. Any other exception that
reaches a script's end is a bug and keeps its traceback.
"""


class UserError(Exception):
    """A mistake or a circumstance outside the program, said in one or two lines."""
