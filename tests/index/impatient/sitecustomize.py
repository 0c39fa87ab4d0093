"""Found by every Python of an index that is started with this folder on its path: nobody screens in these tests."""

from sandboxes.index import errors, judge

judge._WAIT, judge._LOOK, errors.RETRY_AFTER = 0.2, 0.05, 0.4
