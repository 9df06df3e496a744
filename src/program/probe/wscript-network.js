// Maps and cancels for `mpr-otel probe` as caller.rs says. JScript, for cscript.
var network = new ActiveXObject('WScript.Network');
WScript.StdOut.WriteLine('ready');
while (!WScript.StdIn.AtEndOfStream) {
  var line = WScript.StdIn.ReadLine(), at = line.indexOf(' ');
  var verb = line.substr(0, at), name = line.substr(at + 1), code = 0, begun = new Date();
  try {
    if (verb == 'map') network.MapNetworkDrive('', name);
    else network.RemoveNetworkDrive(name, true);
  } catch (error) {
    // Windows' own codes are HRESULTs of the facility Win32.
    code = (error.number >>> 16) == 0x8007 ? error.number & 0xFFFF : '-';
  }
  WScript.StdOut.WriteLine('done ' + code + ' ' + (new Date() - begun) * 1000);
}
