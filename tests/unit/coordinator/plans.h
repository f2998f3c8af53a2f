// Small plans and data sets that the coordinator's tests start from.
#pragma once

#include <string>
#include <vector>

#include "atelier/v1/data_service.pb.h"
#include "atelier/v1/recipe.pb.h"

namespace atelier::coordinator {

// tiny_cnn members, 32 px, one valid stage for each name; as a client submits it.
inline v1::RunPlan MakePlan(const std::vector<std::string>& members,
                            const std::vector<std::string>& stages) {
  v1::RunPlan plan;
  plan.set_name("birds");
  plan.set_recipe("fast");
  plan.mutable_image()->set_size(32);
  plan.set_batch_size(8);
  plan.set_validation_fraction(0.25);
  plan.set_seed(7);
  for (const std::string& name : members) {
    v1::MemberSpec& member = *plan.add_members();
    member.set_name(name);
    member.set_backbone("tiny_cnn");
  }
  for (const std::string& name : stages) {
    v1::StageSpec& stage = *plan.add_stages();
    stage.set_name(name);
    stage.set_epochs(3);
    stage.mutable_optimizer()->set_learning_rate(0.001F);
  }
  return plan;
}

// Classes "jay" (6 training, 2 validation) and "owl" (2 training, 2 validation).
inline v1::DatasetSummary MakeSummary() {
  v1::DatasetSummary summary;
  summary.set_digest(std::string(64, 'd'));
  summary.set_layout(v1::CLASS_FOLDERS);
  summary.set_folder_name("pictures");
  summary.set_labeled(12);
  const auto add = [&summary](const char* name, int training, int validation) {
    v1::ClassCount& count = *summary.add_classes();
    count.set_name(name);
    count.set_found(training + validation);
    count.set_training(training);
    count.set_validation(validation);
  };
  add("jay", 6, 2);
  add("owl", 2, 2);
  return summary;
}

}  // namespace atelier::coordinator
