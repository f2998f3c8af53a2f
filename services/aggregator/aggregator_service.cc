#include "services/aggregator/aggregator_service.h"

#include <utility>

#include "atelier/v1/aggregator.grpc.pb.h"
#include "services/aggregator/bounded_service.h"
#include "services/aggregator/call_wire.h"

namespace atelier::aggregator {
namespace {

using SteadyClock = std::chrono::steady_clock;

void FillResponse(const ServedModel& model, bool want_members, Prediction& prediction,
                  v1::AggregatorPredictResponse& response) {
  *response.mutable_probabilities() = ensemble::ToMatrix(prediction.probabilities);
  *response.mutable_labels() = {prediction.labels.begin(), prediction.labels.end()};
  *response.mutable_members_used() = {prediction.members_used.begin(),
                                      prediction.members_used.end()};
  *response.mutable_members_failed() = {prediction.members_failed.begin(),
                                        prediction.members_failed.end()};
  response.set_degraded(prediction.degraded);
  response.set_ensemble_version(VersionLabel(model.version->ensemble));
  if (!want_members) return;
  for (size_t i = 0; i < prediction.members_used.size(); ++i) {
    v1::MemberProbabilities& member = *response.add_members();
    member.set_member(prediction.members_used[i]);
    *member.mutable_probabilities() = ensemble::ToMatrix(prediction.member_probabilities[i]);
  }
}

class Handlers final : public BoundedService<v1::AggregatorService::CallbackService> {
 public:
  explicit Handlers(const Serving& serving)
      : BoundedService(*v1::AggregatorPredictRequest::descriptor()->file()->FindServiceByName(
            "AggregatorService")),
        serving_(serving) {
    Bind("Predict", &Handlers::Predict);
    Bind("GetServedEnsemble", &Handlers::GetServedEnsemble);
  }

  grpc::ServerUnaryReactor* Predict(grpc::CallbackServerContext* context,
                                    const v1::AggregatorPredictRequest* request,
                                    v1::AggregatorPredictResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const auto begin = SteadyClock::now();
    absl::StatusOr<ServedModel> model = FindModel(serving_.versions, kEnsembleModel);
    if (!model.ok()) {
      serving_.metrics.RecordRequest("atelier", model.status(), SteadyClock::now() - begin, 0,
                                     false);
      reactor->Finish(ToCallStatus(model.status(), *context));
      return reactor;
    }
    PredictionRequest prediction;
    prediction.model = *model;
    prediction.pictures.encoded.assign(request->images().begin(), request->images().end());
    prediction.pictures.count = request->images_size();
    prediction.deadline = DeadlineOf(*context, serving_.engine.limits().imposed_deadline);
    prediction.cancelled = [context] { return context->IsCancelled(); };
    serving_.engine.Predict(
        std::move(prediction), [this, context, request, response, reactor, begin,
                                model = *std::move(model)](absl::StatusOr<Prediction> answer) {
          serving_.metrics.RecordRequest("atelier", answer.status(), SteadyClock::now() - begin,
                                         request->images_size(), answer.ok() && answer->degraded);
          if (answer.ok()) FillResponse(model, request->want_members(), *answer, *response);
          reactor->Finish(ToCallStatus(answer.status(), *context));
        });
    return reactor;
  }

  grpc::ServerUnaryReactor* GetServedEnsemble(grpc::CallbackServerContext* context,
                                              const v1::GetServedEnsembleRequest*,
                                              v1::ServedEnsemble* response) override {
    if (const auto current = serving_.versions.Current(); current != nullptr) {
      *response->mutable_ensemble() = current->ensemble;
    }
    return Finished(context, grpc::Status::OK);
  }

 private:
  const Serving serving_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeAggregatorService(const Serving& serving) {
  return std::make_unique<Handlers>(serving);
}

}  // namespace atelier::aggregator
