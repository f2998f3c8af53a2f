#include "services/aggregator/oip_infer.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "services/aggregator/oip_request.h"
#include "services/aggregator/oip_response.h"

namespace atelier::aggregator {

void OipInfer(const Serving& serving, std::string_view api,
              const inference::ModelInferRequest& request,
              std::chrono::steady_clock::time_point deadline, std::function<bool()> cancelled,
              std::function<void(absl::StatusOr<inference::ModelInferResponse>)> done) {
  using std::chrono::steady_clock;
  const auto begin = steady_clock::now();
  const auto refuse = [&](const absl::Status& status) {
    serving.metrics.RecordRequest(api, status, steady_clock::now() - begin, 0, false);
    done(status);
  };
  absl::StatusOr<ServedModel> model =
      FindModel(serving.versions, request.model_name(), request.model_version());
  if (!model.ok()) return refuse(model.status());
  absl::StatusOr<OipRequest> parsed =
      ParseOipRequest(request, serving.engine.limits().max_pictures);
  if (!parsed.ok()) return refuse(parsed.status());
  if (parsed->timeout.has_value()) deadline = std::min(deadline, begin + *parsed->timeout);

  PredictionRequest prediction;
  prediction.model = *model;
  prediction.pictures = parsed->pictures;
  prediction.deadline = deadline;
  prediction.cancelled = std::move(cancelled);
  serving.engine.Predict(
      std::move(prediction),
      [&metrics = serving.metrics, &request, api = std::string(api), begin,
       model = *std::move(model), parsed = std::make_shared<OipRequest>(*std::move(parsed)),
       done = std::move(done)](absl::StatusOr<Prediction> answer) {
        metrics.RecordRequest(api, answer.status(), steady_clock::now() - begin,
                              parsed->pictures.count, answer.ok() && answer->degraded);
        if (answer.ok()) {
          done(MakeOipResponse(request, *parsed, model, *answer));
        } else {
          done(answer.status());
        }
      });
}

}  // namespace atelier::aggregator
