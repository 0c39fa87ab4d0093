"""A verdict is on bytes under a name, a job too; what patterns a verdict was made with, and which each place has.

The id of what is here stays the sha256, so that links hold. Who writes a verdict need not know its id: a trigger
makes it, one after the other for the same bytes. A "passed" that says of no name was written by nothing that screens;
it counts no more, and its file is screened when somebody wants it. Jobs are made again by who wants the file.

All that is new in a row comes in one statement, which writes the table once. Going back, what was thought worst of
bytes under any name is what is left of them.
"""

from django.db import migrations, models
from django.db.models.functions import Now

NAMED = """
DELETE FROM screening_verdict WHERE filename = '' AND decision = '' AND state NOT IN ('held', 'blocked');
UPDATE screening_verdict SET scanned_by = 0 WHERE filename = '' AND scanned_by <> 0;
DROP INDEX IF EXISTS screening_verdict_sha256_ed2da986_like;
ALTER TABLE screening_verdict
    DROP CONSTRAINT screening_verdict_pkey,
    ADD COLUMN id text GENERATED ALWAYS AS (sha256::text) STORED PRIMARY KEY,
    ADD COLUMN reopened boolean NOT NULL DEFAULT false,
    ADD COLUMN rules text NOT NULL DEFAULT '',
    ADD CONSTRAINT verdict_has_a_name CHECK (scanned_by = 0 OR NOT filename = '');
ALTER TABLE screening_verdict ALTER COLUMN id DROP EXPRESSION;
ALTER TABLE screening_verdict ALTER COLUMN id SET DEFAULT '';
CREATE FUNCTION screening_verdict_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> '' THEN
        RETURN NEW;
    END IF;
    -- Few locks, however many rows a statement writes.
    PERFORM pg_advisory_xact_lock(1936351078, hashtext(NEW.sha256) & 255);
    NEW.id := NEW.sha256;
    IF EXISTS (SELECT FROM screening_verdict WHERE id = NEW.sha256) THEN
        NEW.id := NEW.sha256 || '-' || left(encode(sha256(convert_to(
            concat_ws(chr(10), NEW.ecosystem, NEW.project, NEW.filename), 'UTF8')), 'hex'), 16);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER screening_verdict_id BEFORE INSERT ON screening_verdict
    FOR EACH ROW EXECUTE FUNCTION screening_verdict_id();
ALTER TABLE screening_verdict ENABLE ALWAYS TRIGGER screening_verdict_id;
"""
NAMELESS = """
DROP TRIGGER screening_verdict_id ON screening_verdict;
DROP FUNCTION screening_verdict_id();
DELETE FROM screening_verdict verdict USING (
    SELECT id, row_number() OVER (
        PARTITION BY sha256 ORDER BY state = 'blocked' DESC, state = 'held' DESC, id = sha256 DESC, id) AS place
    FROM screening_verdict) gravest
WHERE verdict.id = gravest.id AND gravest.place > 1;
ALTER TABLE screening_verdict
    DROP CONSTRAINT screening_verdict_pkey,
    ADD PRIMARY KEY (sha256),
    DROP CONSTRAINT verdict_has_a_name,
    DROP COLUMN rules,
    DROP COLUMN reopened,
    DROP COLUMN id;
"""
_AGAINST = models.Q(("state__in", ["held", "blocked"]))
_NAME = ["sha256", "ecosystem", "project", "filename"]


class Migration(migrations.Migration):
    dependencies = [("screening", "0006_live_first")]
    operations = [
        migrations.DeleteModel("Job"),
        migrations.CreateModel(
            name="Job",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sha256", models.CharField(max_length=64)),
                ("ecosystem", models.TextField()),
                ("project", models.TextField()),
                ("version", models.TextField()),
                ("filename", models.TextField()),
                ("facts", models.JSONField(default=dict)),
                ("urgent", models.BooleanField(default=True)),
                ("weight", models.BigIntegerField(default=0)),
                ("wanted_at", models.DateTimeField(db_default=Now())),
                ("attempts", models.IntegerField(default=0)),
                ("leased_until", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [models.Index(fields=["-urgent", "-weight", "wanted_at"], name="job_next")],
                "constraints": [models.UniqueConstraint(fields=_NAME, name="job_once")],
            },
        ),
        migrations.RemoveIndex("verdict", "verdict_against"),
        migrations.RemoveIndex("verdict", "verdict_by_state"),
        migrations.RemoveIndex("verdict", "verdict_decided"),
        migrations.RunSQL(
            NAMED,
            NAMELESS,
            state_operations=[
                migrations.AlterField("verdict", "sha256", models.CharField(max_length=64)),
                migrations.AddField(
                    "verdict", "id", models.TextField(db_default="", primary_key=True, serialize=False)
                ),
                migrations.AddField(
                    "verdict", "reopened", models.BooleanField(db_default=False, default=False)
                ),
                migrations.AddField(
                    "verdict", "rules", models.TextField(blank=True, db_default="", default="")
                ),
                migrations.AddConstraint(
                    "verdict",
                    models.CheckConstraint(
                        condition=models.Q(
                            ("scanned_by", 0), models.Q(("filename", ""), _negated=True), _connector="OR"
                        ),
                        name="verdict_has_a_name",
                    ),
                ),
            ],
        ),
        migrations.AddIndex("verdict", models.Index(fields=["rules"], name="verdict_by_rules")),
        migrations.AddIndex("verdict", models.Index(fields=["state", "-at", "-id"], name="verdict_by_state")),
        migrations.AddIndex(
            "verdict",
            models.Index(
                condition=models.Q(("decision", ""), _negated=True),
                fields=["-decided_at", "id"],
                name="verdict_decided",
            ),
        ),
        migrations.AddIndex(
            "verdict",
            models.Index(
                condition=_AGAINST,
                fields=["sha256"],
                name="verdict_against",
            ),
        ),
        migrations.AddConstraint("verdict", models.UniqueConstraint(fields=_NAME, name="verdict_once")),
        migrations.CreateModel(
            name="Rules",
            fields=[
                ("place", models.TextField(primary_key=True, serialize=False)),
                ("digest", models.TextField()),
                ("changed_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
                ("folder", models.TextField(blank=True)),
                ("ours", models.IntegerField()),
                ("added", models.IntegerField()),
                ("problems", models.JSONField(default=list)),
            ],
            options={"verbose_name_plural": "rules"},
        ),
    ]
