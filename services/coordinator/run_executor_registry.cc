// RunExecutor's calls about ensemble versions.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "common/base/status.h"
#include "services/coordinator/registry.h"
#include "services/coordinator/run_executor.h"

namespace atelier::coordinator {

absl::StatusOr<v1::EnsembleVersion> RunExecutor::Publish(
    const v1::PublishEnsembleRequest& request) {
  v1::EnsembleVersion published;
  bool promoted = false;
  {
    MutexLock lock(mutex_);
    std::vector<std::string> weights;
    for (const v1::EnsembleMember& member : request.ensemble().members()) {
      if (member.weights_digest().empty()) {
        return absl::InvalidArgumentError("ensemble.members: weights_digest is missing");
      }
      weights.push_back(member.weights_digest());
    }
    ATELIER_RETURN_IF_ERROR(CheckStored(weights));
    std::string response;
    ATELIER_RETURN_IF_ERROR(store_.Transact([&](Transaction& transaction) {
      return Idempotent(
          transaction, request.request_id(), request, &response, [&]() -> absl::Status {
            ATELIER_ASSIGN_OR_RETURN(
                const v1::EnsembleVersion stored,
                PublishInTransaction(transaction, request.ensemble(), request.promote(),
                                     UnixMillis(clock_.WallNow()), promoted));
            response = stored.SerializeAsString();
            return absl::OkStatus();
          });
    }));
    if (!published.ParseFromString(response)) {
      return absl::DataLossError("the stored answer to this request cannot be read");
    }
  }
  if (promoted) notifier_->Notify(kPromotionsTopic);
  return published;
}

absl::StatusOr<v1::PromotedEnsemble> RunExecutor::Promote(
    const v1::PromoteEnsembleRequest& request) {
  v1::PromotedEnsemble promoted;
  {
    MutexLock lock(mutex_);
    std::string response;
    ATELIER_RETURN_IF_ERROR(store_.Transact([&](Transaction& transaction) {
      return Idempotent(transaction, request.request_id(), request, &response,
                        [&]() -> absl::Status {
                          ATELIER_ASSIGN_OR_RETURN(
                              const v1::PromotedEnsemble stored,
                              PromoteInTransaction(transaction, request.name(), request.version(),
                                                   UnixMillis(clock_.WallNow())));
                          response = stored.SerializeAsString();
                          return absl::OkStatus();
                        });
    }));
    if (!promoted.ParseFromString(response)) {
      return absl::DataLossError("the stored answer to this request cannot be read");
    }
  }
  notifier_->Notify(kPromotionsTopic);
  return promoted;
}

absl::StatusOr<v1::EnsembleVersion> RunExecutor::GetEnsemble(const std::string& name, int version) {
  v1::EnsembleVersion ensemble;
  ATELIER_RETURN_IF_ERROR(store_.Transact([&](Transaction& transaction) -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(ensemble, FindEnsemble(transaction, name, version));
    return absl::OkStatus();
  }));
  return ensemble;
}

absl::StatusOr<v1::ListEnsemblesResponse> RunExecutor::ListEnsembles(const std::string& name) {
  v1::ListEnsemblesResponse response;
  ATELIER_RETURN_IF_ERROR(store_.Transact([&](Transaction& transaction) -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(std::vector<v1::EnsembleVersion> ensembles,
                             transaction.ListEnsembles(name));
    std::sort(ensembles.begin(), ensembles.end(), [](const auto& a, const auto& b) {
      return std::pair(b.created_unix_ms(), b.version()) <
             std::pair(a.created_unix_ms(), a.version());
    });
    std::map<std::string, int> promoted;
    std::map<std::string, std::set<int>> promoted_once;
    for (v1::EnsembleVersion& ensemble : ensembles) {
      if (!promoted.contains(ensemble.name())) {
        ATELIER_ASSIGN_OR_RETURN(const auto current, transaction.GetPromoted(ensemble.name()));
        promoted[ensemble.name()] = current.has_value() ? current->version : 0;
        ATELIER_ASSIGN_OR_RETURN(promoted_once[ensemble.name()],
                                 transaction.PromotedOnce(ensemble.name()));
      }
      v1::ListedEnsemble& listed = *response.add_ensembles();
      listed.set_promoted(promoted[ensemble.name()] == ensemble.version());
      listed.set_promoted_once(promoted_once[ensemble.name()].contains(ensemble.version()));
      *listed.mutable_ensemble() = std::move(ensemble);
    }
    return absl::OkStatus();
  }));
  return response;
}

absl::StatusOr<v1::PromotedEnsemble> RunExecutor::GetPromoted(const std::string& name) {
  v1::PromotedEnsemble promoted;
  ATELIER_RETURN_IF_ERROR(store_.Transact([&](Transaction& transaction) -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(promoted, FindPromoted(transaction, name));
    return absl::OkStatus();
  }));
  return promoted;
}

}  // namespace atelier::coordinator
