"""Every kind of mask: from annotated pictures to a trained model, a number that says how good it is, and new masks.

The public names are those of `__init__.pyi`; each is imported when it is first used.
"""

import lazy_loader

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

del lazy_loader
