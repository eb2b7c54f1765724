// The module of benchmarks/subjects.py for next-yate: node next_yate.js PORT, with NEXT_YATE its folder.
const { Yate } = require(process.env.NEXT_YATE);
const yate = new Yate({ host: "127.0.0.1", port: Number(process.argv[2]) });
yate.init();
yate.install((message) => {
  if (message.called !== "123" || message.caller !== "100") return false;
  message.param1 = "value1";
  message.retValue("sip/sip:test@127.0.0.1");
  return true;
}, "call.route");
