import everymask as em
from everymask.data.doctor.examine import check

summary = check(em.read_dataset("data", policy="skip", decode=True))
print(summary.task, summary.pictures, summary.num_errors, "defects")
for kind in summary.treatments:
    print(kind.code, kind.count, kind.strict, kind.skip)
