// Runs Apache Kafka's command line tools in one JVM, because each JVM costs more than a second.
// A call is a line of JSON on standard input: {"class": ..., "args": [...], "stdin": ...};
// the answer is a line on standard output: {"exit": ..., "out": ..., "err": ...}.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.*;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

public final class Tools {
    /** Thrown in place of ending the JVM. The first code that a tool asks for is its exit code. */
    static final class Ended extends Error {}

    /** A stream whose target can be changed, since some tools keep the stream that they saw first. */
    static final class Switch extends OutputStream {
        OutputStream target;
        @Override public void write(int b) throws IOException { target.write(b); }
        @Override public void write(byte[] b, int from, int length) throws IOException { target.write(b, from, length); }
        @Override public void flush() throws IOException { target.flush(); }
    }

    /** How long one call may take. */
    private static final long AT_MOST_MS = 60_000;

    private static volatile Integer exit;

    private static void end(int code) {
        if (exit == null) exit = code;
        throw new Ended();
    }

    public static void main(String[] arguments) throws Exception {
        ObjectMapper json = new ObjectMapper();
        BufferedReader calls = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        Switch out = new Switch();
        Switch err = new Switch();
        out.target = err.target = OutputStream.nullOutputStream();
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        Exit.setExitProcedure((code, message) -> end(code));
        Exit.setHaltProcedure((code, message) -> end(code));
        List<Runnable> hooks = new ArrayList<>();
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        for (String line = calls.readLine(); line != null; line = calls.readLine()) {
            JsonNode call = json.readTree(line);
            ByteArrayOutputStream callOut = new ByteArrayOutputStream();
            ByteArrayOutputStream callErr = new ByteArrayOutputStream();
            out.target = callOut;
            err.target = callErr;
            System.setIn(new ByteArrayInputStream(call.path("stdin").asText().getBytes(StandardCharsets.UTF_8)));
            List<String> args = new ArrayList<>();
            call.path("args").forEach(argument -> args.add(argument.asText()));
            Thread tool = new Thread(() -> run(call.path("class").asText(), args.toArray(new String[0])));
            tool.setDaemon(true);
            tool.start();
            tool.join(AT_MOST_MS);
            if (tool.isAlive()) {
                System.err.println("no end within " + AT_MOST_MS + " ms");
                for (StackTraceElement at : tool.getStackTrace()) System.err.println("\tat " + at);
                exit = 124;
            }
            // The console producer sends what is left in its hook.
            for (Runnable hook : hooks) {
                Thread thread = new Thread(hook);
                thread.setDaemon(true);
                thread.start();
                thread.join(10_000);
            }
            hooks.clear();
            System.out.flush();
            System.err.flush();
            ObjectNode answer = json.createObjectNode();
            answer.put("exit", exit == null ? 0 : exit);
            answer.put("out", callOut.toString(StandardCharsets.UTF_8));
            answer.put("err", callErr.toString(StandardCharsets.UTF_8));
            answers.println(json.writeValueAsString(answer));
        }
    }

    private static void run(String tool, String[] arguments) {
        exit = null;
        try {
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException thrown) {
            if (!(thrown.getCause() instanceof Ended)) {
                // As the JVM does with what main throws.
                thrown.getCause().printStackTrace();
                if (exit == null) exit = 1;
            }
        } catch (ReflectiveOperationException missing) {
            missing.printStackTrace();
            exit = 127;
        }
    }
}
