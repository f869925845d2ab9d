"""
Layered settings of a Django project.

The settings module of a project is two lines::

    from task_server.settings import load
    load(globals())

`load` executes the files ``NN-*.py`` (two digits, a dash) that lie beside it,
in alphabetical order, in the one namespace of the module: a later file sees
the names of the earlier ones and may override them. ``11-private.py.example``
and the like are ignored, for they do not end in ``.py``. Private files may lie
outside the code: TASK_SERVER_SETTINGS_PATH lists them, or their folders.

`explain` returns which file set a setting.
"""

from task_server.settings.explain import Change, explain
from task_server.settings.files import WorldReadableWarning, load, locate, settings_files
from task_server.settings.mask import masked

__all__ = [
    "Change",
    "WorldReadableWarning",
    "explain",
    "load",
    "locate",
    "masked",
    "settings_files",
]
