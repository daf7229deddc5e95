import javax.management.ObjectName;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/** Prints one attribute of one MBean: {@code java ReadJmx.java HOST:PORT MBEAN ATTRIBUTE}. */
class ReadJmx {
    public static void main(String[] arguments) throws Exception {
        var url = new JMXServiceURL("service:jmx:rmi:///jndi/rmi://" + arguments[0] + "/jmxrmi");
        try (var connector = JMXConnectorFactory.connect(url)) {
            var connection = connector.getMBeanServerConnection();
            System.out.println(connection.getAttribute(new ObjectName(arguments[1]), arguments[2]));
        }
    }
}
