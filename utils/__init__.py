"""The library of nxp-model-zoo: what the task graph, the steps and the tests share."""
