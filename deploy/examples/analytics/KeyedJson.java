package salmon.example;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.transforms.Transformation;

/**
 * What FileStreamSink has not: a record as one line of JSON, with its key and its place in the topic.
 *
 * <pre>{"key":"001A","offset":17,"record":{"Name":"Acme"}}    and of a record that was deleted    {"key":"001A","offset":18,"record":null}</pre>
 */
public class KeyedJson implements Transformation<SinkRecord> {
    private final JsonConverter json = new JsonConverter();

    @Override
    public void configure(Map<String, ?> settings) {
        json.configure(Map.of("schemas.enable", "false", "decimal.format", "NUMERIC"), false);
    }

    @Override
    public SinkRecord apply(SinkRecord record) {
        String key = text(record.topic(), Schema.STRING_SCHEMA, record.key());
        String fields = record.value() == null ? "null" : text(record.topic(), record.valueSchema(), record.value());
        String line = "{\"key\":" + key + ",\"offset\":" + record.kafkaOffset() + ",\"record\":" + fields + "}";
        return record.newRecord(
            record.topic(), record.kafkaPartition(), record.keySchema(), record.key(), Schema.STRING_SCHEMA, line, record.timestamp());
    }

    @Override
    public ConfigDef config() {
        return new ConfigDef();
    }

    @Override
    public void close() {
        json.close();
    }

    private String text(String topic, Schema schema, Object value) {
        return new String(json.fromConnectData(topic, schema, value), UTF_8);
    }
}
