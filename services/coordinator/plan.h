// From a run plan to tasks and assignments. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "atelier/v1/coordinator.pb.h"
#include "atelier/v1/data_service.pb.h"
#include "atelier/v1/fleet_service.pb.h"
#include "atelier/v1/recipe.pb.h"

namespace atelier::coordinator {

// Fills in what is unset (names, patience, member image and scaling, …) and checks every field.
// InvalidArgument names the field, its value and what is allowed.
absl::StatusOr<v1::RunPlan> CompletePlan(v1::RunPlan plan);

// The description a submission asks the data-service for.
v1::DescribeDatasetRequest DescribeRequest(const v1::RunPlan& plan);

// CompletePlan's result with what the data-service found: classes, digest, default name.
absl::StatusOr<v1::RunPlan> BindDataset(v1::RunPlan plan, const v1::DatasetSummary& summary);

// One waiting task per member and stage, ordered by member, then stage.
std::vector<v1::Task> ExpandTasks(const v1::RunPlan& plan);

const v1::StageSpec* FindStage(const v1::RunPlan& plan, const std::string& stage);
const v1::MemberSpec* FindMember(const v1::RunPlan& plan, const std::string& member);

v1::ModelSpec ModelFor(const v1::RunPlan& plan, const v1::MemberSpec& member);

// An assignment without lease, addresses and starting point.
v1::Assignment AssignmentFor(const v1::Run& run, const v1::Task& task);

}  // namespace atelier::coordinator
