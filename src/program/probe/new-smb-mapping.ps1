# Maps and cancels for `mpr-otel probe` as caller.rs says. Passed as an argument, so without double quotes.
if (-not (Get-Command New-SmbMapping -ErrorAction SilentlyContinue)) { exit 3 }
[Console]::Out.WriteLine('ready')
while ($line = [Console]::In.ReadLine()) {
  $verb, $name = $line -split ' ', 2
  $code = 0
  $clock = [Diagnostics.Stopwatch]::StartNew()
  try {
    if ($verb -eq 'map') { $null = New-SmbMapping -RemotePath $name -ErrorAction Stop }
    else { Remove-SmbMapping -RemotePath $name -Force -ErrorAction Stop }
  } catch {
    $code = if ($_.FullyQualifiedErrorId -match 'Windows System Error (\d+)') { $Matches[1] } else { '-' }
  }
  [Console]::Out.WriteLine('done ' + $code + ' ' + [long]($clock.Elapsed.TotalMilliseconds * 1000))
}
