// What a task's numbers depend on, and how its precision is chosen. Torch-free header.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/checkpoint.pb.h"
#include "atelier/v1/fleet_service.pb.h"

namespace atelier::trainer {

// A device ("cpu", "cuda:0") as the hello tells the coordinator of it. What LibTorch alone cannot
// say of a GPU, its model and memory, stays unset.
v1::Device DescribeDevice(const std::string& name, int threads);

// The environment of a task's first assignment: precision from the plan (AUTO: FLOAT32 when
// deterministic or on tiny_cnn, else whichever trains faster here, measured once per backbone and
// size in this process), `threads` from the plan or the trainer.
absl::StatusOr<v1::NumericEnvironment> ChooseEnvironment(const v1::Assignment& assignment,
                                                         const std::string& device,
                                                         int trainer_threads);

// This process's environment with the task's precision and threads.
v1::NumericEnvironment ThisEnvironment(const v1::NumericEnvironment& task,
                                       const std::string& device);

// The fields that differ, by name; none: a resume is bit-exact (P3).
std::vector<std::string> Differences(const v1::NumericEnvironment& stored,
                                     const v1::NumericEnvironment& here);

}  // namespace atelier::trainer
