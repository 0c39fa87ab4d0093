"""A verdict is told to those who wait for it: each row's sha256, however and by whomever it is written.

`screening_verdict`'s other trigger (`0004_screening_epochs`) says only that some verdict changed. A row that says the same
as before wakes nobody.
"""

from django.db import migrations

TELL = """
CREATE FUNCTION index_tell_verdict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('screening_verdict', NEW.sha256);
    RETURN NULL;
END $$;
CREATE TRIGGER screening_verdict_made AFTER INSERT ON screening_verdict
    FOR EACH ROW EXECUTE FUNCTION index_tell_verdict();
CREATE TRIGGER screening_verdict_changed AFTER UPDATE ON screening_verdict
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION index_tell_verdict();
ALTER TABLE screening_verdict ENABLE ALWAYS TRIGGER screening_verdict_made;
ALTER TABLE screening_verdict ENABLE ALWAYS TRIGGER screening_verdict_changed;
"""
UNTELL = """
DROP TRIGGER screening_verdict_made ON screening_verdict;
DROP TRIGGER screening_verdict_changed ON screening_verdict;
DROP FUNCTION index_tell_verdict();
"""


class Migration(migrations.Migration):
    dependencies = [("index", "0006_npm"), ("screening", "0002_screening")]
    operations = [migrations.RunSQL(TELL, UNTELL)]
