from everymask.train.runs.found import read_runs

for run in read_runs(".").rows:
    print(run.folder, run.state, run.score, run.settings["lr"])
