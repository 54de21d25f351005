"""Reports: what a verb says is a list of blocks, made once and shown on a terminal, as Markdown or as a page.

A verb makes a report and hands it to as many renderers as it has places for it::

    report = Report(
        "zipf: capacity plan",
        [
            "zipf: 60 requests/s, 4 models, 3 seeds",
            Verdict(["sun meets the SLO with 7 GPUs."], missed=False),
            TextTable("", ("arm", "all\\nGPUs"), [("isolated", "11"), ("sun", "7")]),
            Section(
                "Rate",
                [
                    Note("The vertical lines are the highest rates that pass."),
                    Gallery([Figure(svg=goodput), Figure(svg=pareto)]),
                    Section("Every rate", [curve], folded=True),
                ],
                in_full=True,
            ),
            Section("Before you believe it", [Bullets(caveats)]),
        ],
        footer=["sunsim 1.0"],
    )
    terminal.say(report.blocks, place="results/zipf-plan/")
    markdown.to_markdown(report)
    html.to_html(report)

`blocks` says what there is, and what a terminal leaves out.
"""
