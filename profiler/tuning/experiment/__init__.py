"""The experiment on synthetic tasks: does prefill-only tuning keep the quality of full tuning?

`words` is the language, `math_problems`, `list_programs` and `tool_calls` are its three families of tasks, `tasks` mixes them for
pre-training and holds out the variants that are tuned, `pretrain` makes the base models, `order` lists the jobs, `work` does one and
`runner` all that fit into a budget of time, `results` says what came out, `sunsim.accuracy.verdict` what that means.
"""
