"""RECIPE's members in Keras: keras.applications.Xception; EfficientNet-Lite0, which keras.applications lacks."""
import keras
from keras import layers


def lite0(x):
    def conv_bn(x, filters, kernel=1, stride=1, act=True):
        x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        return layers.ReLU(6.0)(x) if act else x

    x, channels = conv_bn(x, 32, 3, 2), 32
    for repeats, kernel, stride, expansion, filters in (
            (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
            (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)):
        for i in range(repeats):
            step, y = stride if i == 0 else 1, x
            if expansion > 1:
                y = conv_bn(y, channels * expansion)
            y = layers.DepthwiseConv2D(kernel, step, padding="same", use_bias=False)(y)
            y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
            y = conv_bn(y, filters, act=False)
            x = layers.Add()([y, x]) if step == 1 and channels == filters else y
            channels = filters
    return conv_bn(x, 1280)


def member(backbone, size, classes=7):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((size, size, 3), dtype="uint8")
    x = layers.Rescaling(1 / 127.5, -1)(inputs)
    if backbone == "xception":
        x = keras.applications.Xception(include_top=False, weights=None, input_tensor=x).output
    else:
        x = lite0(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(512, "relu", kernel_initializer="he_normal", kernel_regularizer=keras.regularizers.L2(1e-3))(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs, layers.Dense(classes, "softmax", dtype="float32")(x))
