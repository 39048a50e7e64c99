import java.util.List;
import java.util.TreeSet;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.runtime.ConnectorConfig;
import org.apache.kafka.connect.runtime.SinkConnectorConfig;
import org.apache.kafka.connect.runtime.SourceConnectorConfig;
import org.apache.kafka.connect.runtime.distributed.Crypto;
import org.apache.kafka.connect.runtime.distributed.DistributedConfig;

/** Prints the names of all config keys of a worker and of connectors, each with its section in deploy/from-kafka-connect.md. */
public class ConnectKeys {
    public static void main(String[] arguments) throws Exception {
        var ofWorker = DistributedConfig.class.getDeclaredMethod("config", Crypto.class);
        ofWorker.setAccessible(true);
        print("Worker", ((ConfigDef) ofWorker.invoke(null, Crypto.SYSTEM)).names(), List.of());
        var ofConnector = ConnectorConfig.class.getDeclaredMethod("configDef");
        ofConnector.setAccessible(true);
        var common = ((ConfigDef) ofConnector.invoke(null)).names();
        print("Every connector", common, List.of());
        print("Sources and sinks", SourceConnectorConfig.configDef().names(), common);
        print("Sources and sinks", SinkConnectorConfig.configDef().names(), common);
    }

    private static void print(String section, Iterable<String> names, java.util.Collection<String> without) {
        var sorted = new TreeSet<String>();
        names.forEach(sorted::add);
        sorted.removeAll(without);
        sorted.forEach(name -> System.out.println(section + "=" + name));
    }
}
