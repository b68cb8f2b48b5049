"""Ways to spread a training over processes and to compile it. (Apart from the keys of `execution`, an edit of which
would otherwise be one of the code that trains.)"""

from typing import Literal

Sharding = Literal["none", "full"]
Compile = Literal["auto", "always", "never"]
