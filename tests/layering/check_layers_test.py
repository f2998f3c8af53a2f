"""Shows that check_layers finds each kind of violation, and passes what is allowed."""
import unittest

from check_layers import check_file, check_proto


def errors(path, *headers):
    return list(check_file(path, "".join(f'#include "{h}"\n' for h in headers)))


class Layers(unittest.TestCase):
    def test_a_lower_room_is_refused(self):
        self.assertEqual(len(errors("common/vision/a.cc", "common/nn/catalog.h")), 1)
        self.assertEqual(len(errors("services/data/a.cc", "services/trainer/client.h")), 1)

    def test_of_another_service_only_the_client(self):
        self.assertEqual(errors("services/trainer/a.cc", "services/data/client.h"), [])
        self.assertEqual(len(errors("services/trainer/a.cc", "services/data/catalog.h")), 1)
        self.assertEqual(len(errors("services/cli/train.cc", "services/data/service.h")), 1)
        self.assertEqual(errors("services/cli/embedded.cc", "services/data/service.h"), [])

    def test_libraries_a_room_must_not_know(self):
        self.assertEqual(len(errors("common/base/a.h", "grpcpp/grpcpp.h")), 1)
        self.assertEqual(len(errors("common/base/a.h", "atelier/v1/model.pb.h")), 1)
        self.assertEqual(len(errors("common/nn/a.h", "opencv2/core.hpp")), 1)
        self.assertEqual(len(errors("services/coordinator/a.cc", "torch/torch.h")), 1)
        self.assertEqual(len(errors("services/cli/convert/a.cc", "grpcpp/grpcpp.h")), 1)

    def test_domain_files_know_no_generated_grpc_code(self):
        self.assertEqual(len(errors("services/data/catalog.cc", "atelier/v1/x.grpc.pb.h")), 1)
        self.assertEqual(errors("services/data/data_service_impl.cc", "atelier/v1/x.grpc.pb.h"), [])

    def test_the_inference_protocol_stands_alone(self):
        self.assertEqual(len(list(check_proto("protos/inference/a.proto",
                                              'import "atelier/v1/model.proto";'))), 1)
        self.assertEqual(len(list(check_proto("protos/atelier/v1/a.proto",
                                              'import "inference/a.proto";'))), 1)

    def test_what_is_above_is_allowed(self):
        self.assertEqual(errors("services/trainer/a.cc", "common/nn/catalog.h", "torch/torch.h",
                                "absl/status/status.h"), [])


if __name__ == "__main__":
    unittest.main()
