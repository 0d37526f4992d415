"""Print the number of threads after predicting the image argv[2] with the export argv[1]; and torch, fastai if loaded.

Without arguments, only import onnxruntime.
"""

import os
import sys
import time

if len(sys.argv) > 1:
    from icon_classifier.model.classifier import load_classifier

    load_classifier(sys.argv[1]).predict(sys.argv[2])
else:
    import onnxruntime  # noqa: F401
end = time.monotonic() + (0.5 if len(sys.argv) > 1 else 30)  # until a thread of telemetry starts
while len(os.listdir("/proc/self/task")) == 1 and time.monotonic() < end:
    time.sleep(0.05)
print(len(os.listdir("/proc/self/task")), *{"torch", "fastai"} & set(sys.modules))
