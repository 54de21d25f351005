"""Reports: what a verb says is a list of blocks, made once and shown on a terminal, as Markdown or as a page.

A verb makes a `blocks.Report` and hands it to as many renderers as it has places for it: `terminal.say`,
`markdown.to_markdown`, `html.to_html`. `blocks` says what there is, and what a terminal leaves out.
"""
