"""`penstock status`: where every lane stands, read from home alone; no engine need run."""

from __future__ import annotations

from penstock.cli import options, output


def status(
    pipeline: options.Pipeline = None,
    profile: options.ProfileName = options.EMBEDDED,
    json: options.Json = False,
) -> None:
    """Say where every lane stands.

    Reads home alone: no pipeline has to run, and no store has to be there.
    """
    with output.errors_as_exit_codes(json):
        from penstock.cli import at_home, states
        from penstock.home import programs, state

        with at_home.opened(profile) as home, home.transaction() as cursor:
            names = programs.pipelines(cursor)
            if pipeline is not None:
                names = [at_home.only_pipeline(home, pipeline)]
            found = [state.read(cursor, name) for name in names]
        document = {"profile": profile, "pipelines": [states.document(one) for one in found]}
        output.answer(document, states.drawn(found), as_json=json)
