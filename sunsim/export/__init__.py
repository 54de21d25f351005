"""An arm as it would be deployed: what `sunsim export` writes for vLLM, llm-d and Dynamo.

`sunsim.export.deployment` describes the workers of an arm as plain data; one module a target makes files of that.
"""
