"""The code that screening found something in, side by side with the previous release's.

Archives are a stranger's, so they are opened in a child process with limits (`child.py`), which knows neither
Django nor any secret; whoever shows the result asks `asking.py`.
"""
