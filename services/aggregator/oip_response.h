// Domain answers to Open Inference Protocol messages.
#pragma once

#include "inference/grpc_predict_v2.pb.h"
#include "services/aggregator/oip_request.h"
#include "services/aggregator/prediction.h"

namespace atelier::aggregator {

// Outputs in the fixed order probabilities, label, as far as wanted, in raw_output_contents.
inference::ModelInferResponse MakeOipResponse(const inference::ModelInferRequest& request,
                                              const OipRequest& parsed, const ServedModel& model,
                                              const Prediction& prediction);

inference::ModelMetadataResponse MakeOipMetadata(const ServedModel& model);
inference::ModelConfig MakeOipConfig(const ServedModel& model, int max_pictures);

}  // namespace atelier::aggregator
