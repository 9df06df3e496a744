<#
.SYNOPSIS
Registers the recorder, maps and cancels a share of this machine in every way that needs no hand,
and writes down which of them MPR told the recorder of. docs/WINDOWS.md says what it is to find out.

.DESCRIPTION
It has not run on a Windows machine yet. For an administrator's Windows PowerShell 5.1 or later, on
a machine that may be played with: it makes a share, and for the time of the run two users. It
removes them again; -Remove removes the recorder as well.

.EXAMPLE
powershell -ExecutionPolicy Bypass -File run.ps1
.EXAMPLE
powershell -ExecutionPolicy Bypass -File run.ps1 -ByHand
.EXAMPLE
powershell -ExecutionPolicy Bypass -File run.ps1 -Remove
#>
param(
    # Where the results go.
    [string]$Out = (Join-Path $PWD.Path 'recorded'),
    # The recorder for this machine's own programs, and for 32-bit ones.
    [string]$Dll = (Join-Path $PSScriptRoot 'mpr_otel_recorder.dll'),
    [string]$Dll32 = (Join-Path $PSScriptRoot 'x86\mpr_otel_recorder.dll'),
    # A shared printer, such as \\print01\office, for AddPrinterConnection.
    [string]$Printer = '\\localhost\no-such-printer',
    # Asks for what only a hand can do, such as Explorer's wizard.
    [switch]$ByHand,
    # Removes what this script made.
    [switch]$Remove,
    # Used by the script itself: does this one thing, in a process of another kind.
    [ValidateSet('', 'add', 'as-user')] [string]$Call = '',
    [string]$User, [string]$Password
)
Set-StrictMode -Version 1
$ErrorActionPreference = 'Stop'

$Root = [IO.Path]::GetPathRoot([Environment]::SystemDirectory)
$Folder = Join-Path $Root 'mpr-otel-recorder'
$Calls = Join-Path $Folder 'calls.jsonl'
$Key = 'HKLM:\SYSTEM\CurrentControlSet\Control\NetworkProvider\Notifyees'
$Value = 'mpr-otel-recorder'
$File = 'mpr_otel_recorder.dll'
$Share = 'mpr-otel-recorder'
$Remote = "\\localhost\$Share"
$Users = 'mpr-rec-a', 'mpr-rec-b'
$Shell = 'WindowsPowerShell\v1.0\powershell.exe'

Add-Type -TypeDefinition @'
using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;

public static class Wnet
{
    [StructLayout(LayoutKind.Sequential, CharSet = CharSet.Unicode)]
    public struct Resource
    {
        public uint Scope, Type, DisplayType, Usage;
        public string LocalName, RemoteName, Comment, Provider;
    }

    const string Mpr = "mpr.dll";
    [DllImport(Mpr, CharSet = CharSet.Unicode, ExactSpelling = true)]
    static extern uint WNetAddConnectionW(string remote, string password, string local);
    [DllImport(Mpr, CharSet = CharSet.Unicode, ExactSpelling = true)]
    static extern uint WNetAddConnection2W(ref Resource resource, string password, string user, uint flags);
    [DllImport(Mpr, CharSet = CharSet.Unicode, ExactSpelling = true)]
    static extern uint WNetAddConnection3W(IntPtr owner, ref Resource resource, string password, string user, uint flags);
    [DllImport(Mpr, CharSet = CharSet.Unicode, ExactSpelling = true)]
    static extern uint WNetAddConnection4W(IntPtr owner, ref Resource resource, IntPtr auth, uint authSize, uint flags, IntPtr options, uint optionsSize);
    [DllImport(Mpr, CharSet = CharSet.Unicode, ExactSpelling = true)]
    static extern uint WNetUseConnectionW(IntPtr owner, ref Resource resource, string password, string user, uint flags, StringBuilder access, ref uint size, out uint result);
    [DllImport(Mpr, CharSet = CharSet.Unicode, ExactSpelling = true)]
    static extern uint WNetUseConnection4W(IntPtr owner, ref Resource resource, IntPtr auth, uint authSize, uint flags, IntPtr options, uint optionsSize, StringBuilder access, ref uint size, out uint result);
    [DllImport(Mpr, CharSet = CharSet.Unicode, ExactSpelling = true)]
    static extern uint WNetRestoreSingleConnectionW(IntPtr owner, string device, bool dialogs);
    [DllImport(Mpr, CharSet = CharSet.Unicode, ExactSpelling = true)]
    public static extern uint WNetCancelConnectionW(string name, bool force);
    [DllImport(Mpr, CharSet = CharSet.Unicode, ExactSpelling = true)]
    public static extern uint WNetCancelConnection2W(string name, uint flags, bool force);
    [DllImport("winspool.drv", CharSet = CharSet.Unicode, ExactSpelling = true, SetLastError = true)]
    static extern bool AddPrinterConnectionW(string name);
    [DllImport("advapi32.dll", CharSet = CharSet.Unicode, ExactSpelling = true, SetLastError = true)]
    static extern bool LogonUserW(string user, string domain, string password, uint type, uint provider, out IntPtr token);
    [DllImport("advapi32.dll", ExactSpelling = true, SetLastError = true)]
    static extern bool ImpersonateLoggedOnUser(IntPtr token);
    [DllImport("advapi32.dll", ExactSpelling = true, SetLastError = true)]
    static extern bool RevertToSelf();

    // Adds a connection with one of the functions, and returns what it returned.
    public static uint Add(string function, string local, string remote, string user, string password, uint flags)
    {
        // A RESOURCETYPE_DISK; without a local name any type, as for IPC$.
        var resource = new Resource { Type = local == null ? 0u : 1u, LocalName = local, RemoteName = remote };
        var access = new StringBuilder(1024);
        uint size = 1024, result;
        switch (function)
        {
            case "WNetAddConnectionW": return WNetAddConnectionW(remote, password, local);
            case "WNetAddConnection2W": return WNetAddConnection2W(ref resource, password, user, flags);
            case "WNetAddConnection3W": return WNetAddConnection3W(IntPtr.Zero, ref resource, password, user, flags);
            case "WNetAddConnection4W": return WNetAddConnection4W(IntPtr.Zero, ref resource, IntPtr.Zero, 0, flags, IntPtr.Zero, 0);
            case "WNetUseConnectionW": return WNetUseConnectionW(IntPtr.Zero, ref resource, password, user, flags, access, ref size, out result);
            case "WNetUseConnection4W": return WNetUseConnection4W(IntPtr.Zero, ref resource, IntPtr.Zero, 0, flags, IntPtr.Zero, 0, access, ref size, out result);
            default: throw new ArgumentException(function);
        }
    }

    public static uint Restore(string device) { return WNetRestoreSingleConnectionW(IntPtr.Zero, device, false); }

    public static int AddPrinter(string name) { return AddPrinterConnectionW(name) ? 0 : Marshal.GetLastWin32Error(); }

    // As Group Policy's extension does: a service's thread takes a user's token and maps a drive.
    public static string AsUser(string user, string password, string local, string remote)
    {
        IntPtr token;
        const uint interactive = 2;
        if (!LogonUserW(user, ".", password, interactive, 0, out token)) return "LogonUser " + Marshal.GetLastWin32Error();
        if (!ImpersonateLoggedOnUser(token)) return "Impersonate " + Marshal.GetLastWin32Error();
        try
        {
            uint added = Add("WNetUseConnectionW", local, remote, null, null, 0);
            return added + ", cancel " + WNetCancelConnection2W(local, 0, true);
        }
        finally { RevertToSelf(); }
    }

    // The same operation on many threads at once.
    public static string Together(int count, string remote)
    {
        var codes = new uint[count];
        var threads = new List<Thread>();
        using (var start = new ManualResetEvent(false))
        {
            for (int index = 0; index < count; index++)
            {
                int own = index;
                var thread = new Thread(() => { start.WaitOne(); codes[own] = Add("WNetAddConnection2W", null, remote, null, null, 0); });
                thread.Start();
                threads.Add(thread);
            }
            start.Set();
            threads.ForEach(thread => thread.Join());
        }
        return string.Join(" ", codes);
    }
}
'@

# In a process of another kind: one thing, and out.
if ($Call -eq 'add') {
    $code = [Wnet]::Add('WNetAddConnection2W', $null, '\\localhost\IPC$', $null, $null, 0)
    "$code, cancel $([Wnet]::WNetCancelConnection2W('\\localhost\IPC$', 0, $true))"
    exit 0
}
if ($Call -eq 'as-user') {
    [Wnet]::AsUser($User, $Password, 'Q:', $Remote) | Set-Content (Join-Path $Folder "$User.txt")
    exit 0
}

function Unregister-Recorder {
    if (Test-Path $Key) { Remove-ItemProperty $Key $Value -ErrorAction SilentlyContinue }
    foreach ($system in 'System32', 'SysWOW64') {
        foreach ($dll in Get-ChildItem (Join-Path $env:SystemRoot $system) -Filter "$File*") {
            # A program that has it loaded, such as Explorer, keeps the file until it ends.
            try { Remove-Item $dll.FullName } catch { Write-Warning "$($dll.FullName) is in use; sign out, and run -Remove again" }
        }
    }
}

if ($Remove) {
    Unregister-Recorder
    Get-SmbShare $Share -ErrorAction SilentlyContinue | Remove-SmbShare -Force
    Remove-Item $Folder -Recurse -Force -ErrorAction SilentlyContinue
    "The recorder is gone. Results stay in $Out."
    exit 0
}

New-Item -ItemType Directory -Force $Out, $Folder, (Join-Path $Folder 'share') | Out-Null
# Everybody, store apps, restricted tokens and programs of low integrity may add lines.
icacls.exe $Folder /grant '*S-1-1-0:(OI)(CI)M' '*S-1-15-2-1:(OI)(CI)M' '*S-1-5-12:(OI)(CI)M' /Q | Out-Null
icacls.exe $Folder /setintegritylevel '(OI)(CI)L' /Q | Out-Null

# Programs that have loaded an earlier one keep it: rename that, and put the new one in its place.
function Install-Dll($from, $system) {
    $path = Join-Path $env:SystemRoot "$system\$File"
    if (-not (Test-Path $from)) { Write-Warning "no $from; programs of that kind are not recorded"; return }
    if (Test-Path $path) { Move-Item $path "$path.$([Guid]::NewGuid().ToString('N').Substring(0, 8)).old" }
    Copy-Item $from $path
}
Install-Dll $Dll 'System32'
Install-Dll $Dll32 'SysWOW64'
if (-not (Test-Path $Key)) { New-Item $Key -Force | Out-Null }
New-ItemProperty $Key $Value -PropertyType ExpandString -Value "%SystemRoot%\System32\$File" -Force | Out-Null

if (-not (Get-SmbShare $Share -ErrorAction SilentlyContinue)) {
    # The name of "Everyone" is in the language of Windows.
    $everyone = (New-Object Security.Principal.SecurityIdentifier 'S-1-1-0').Translate([Security.Principal.NTAccount]).Value
    New-SmbShare $Share -Path (Join-Path $Folder 'share') -FullAccess $everyone | Out-Null
}

$system = Get-ItemProperty 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
$machine = [ordered]@{
    when = (Get-Date).ToUniversalTime().ToString('u')
    product = $system.ProductName
    build = "$($system.CurrentBuild).$($system.UBR)"
    architecture = $env:PROCESSOR_ARCHITECTURE
    recorder = (Get-FileHash $Dll).Hash
    notifyees = (Get-Item $Key).Property
}
$machine | ConvertTo-Json | Set-Content (Join-Path $Out 'machine.json')

function Read-Calls {
    if (Test-Path $Calls) { @(Get-Content $Calls -Encoding UTF8) } else { @() }
}

$results = New-Object Collections.ArrayList

# Does one thing, and keeps what the recorder wrote meanwhile.
function Watch-Caller([string]$caller, [scriptblock]$do) {
    $before = @(Read-Calls).Count
    $watch = [Diagnostics.Stopwatch]::StartNew()
    try { $returned = (& $do) -join '; ' } catch { $returned = "error: $($_.Exception.Message)" }
    $took = $watch.ElapsedMilliseconds
    $lines = @(Read-Calls | Select-Object -Skip $before | ForEach-Object { $_ | ConvertFrom-Json })
    $told = @($lines | Where-Object { $_.event -like '*ConnectNotify' })
    $post = @($told | Where-Object { $_.NOTIFYINFO.dwNotifyStatus -eq 2 })
    [void]$results.Add([pscustomobject][ordered]@{
        caller = $caller
        returned = $returned
        took_ms = $took
        loaded = @($lines | Where-Object { $_.event -eq 'Loaded' }).Count
        add_pre = @($told | Where-Object { $_.event -like 'Add*' -and $_.NOTIFYINFO.dwNotifyStatus -eq 1 }).Count
        add_post = @($post | Where-Object { $_.event -like 'Add*' }).Count
        cancel_pre = @($told | Where-Object { $_.event -like 'Cancel*' -and $_.NOTIFYINFO.dwNotifyStatus -eq 1 }).Count
        cancel_post = @($post | Where-Object { $_.event -like 'Cancel*' }).Count
        post_status = ($post | ForEach-Object { $_.NOTIFYINFO.dwOperationStatus }) -join ' '
        programs = ($told | ForEach-Object { Split-Path -Leaf $_.process.image } | Sort-Object -Unique) -join ' '
        lines = $lines
    })
    $result = $results[$results.Count - 1]
    '{0,-34} add {1}/{2} cancel {3}/{4}  returned {5}' -f $caller, $result.add_pre, $result.add_post, $result.cancel_pre, $result.cancel_post, $returned
    # Kept after each: the next may hang.
    ConvertTo-Json @($results) -Depth 12 | Set-Content (Join-Path $Out 'callers.json')
}

function Get-FreeLetter {
    $used = [IO.DriveInfo]::GetDrives() | ForEach-Object { $_.Name.Substring(0, 2) }
    # A remembered letter is not free either.
    if (Test-Path 'HKCU:\Network') { $used += Get-ChildItem 'HKCU:\Network' | ForEach-Object { $_.PSChildName.ToUpper() + ':' } }
    [string[]][char[]](90..80) | ForEach-Object { "${_}:" } | Where-Object { $used -notcontains $_ } | Select-Object -First 1
}

# From here on a failure is an answer. What cmdlets report is asked for with -ErrorAction Stop.
$ErrorActionPreference = 'Continue'
'caller                             PRE/POST'
$letter = Get-FreeLetter
$cancel = { "cancel $([Wnet]::WNetCancelConnection2W($letter, 1, $true))" }

# E1: which callers notify?
foreach ($function in 'WNetAddConnectionW', 'WNetAddConnection2W', 'WNetAddConnection3W', 'WNetAddConnection4W', 'WNetUseConnectionW', 'WNetUseConnection4W') {
    Watch-Caller $function { [Wnet]::Add($function, $letter, $Remote, $null, $null, 0); & $cancel }
}
Watch-Caller 'WNetAddConnection2W, no letter' { [Wnet]::Add('WNetAddConnection2W', $null, $Remote, $null, $null, 0) }
Watch-Caller 'WNetCancelConnection2W, by name' { [Wnet]::WNetCancelConnection2W($Remote, 0, $true) }
[void][Wnet]::Add('WNetAddConnection2W', $letter, $Remote, $null, $null, 0)
Watch-Caller 'WNetCancelConnectionW' { [Wnet]::WNetCancelConnectionW($letter, $true) }
Watch-Caller 'net use' { net.exe use $letter $Remote /persistent:no 2>&1 | Out-Null; "exit $LASTEXITCODE" }
Watch-Caller 'net use /delete' { net.exe use $letter /delete /y 2>&1 | Out-Null; "exit $LASTEXITCODE" }
Watch-Caller 'New-SmbMapping' { (New-SmbMapping -LocalPath $letter -RemotePath $Remote -ErrorAction Stop).Status }
Watch-Caller 'Remove-SmbMapping' { Remove-SmbMapping -LocalPath $letter -Force -ErrorAction Stop }
$name = $letter.Substring(0, 1)
Watch-Caller 'New-PSDrive -Persist' { (New-PSDrive $name FileSystem $Remote -Persist -Scope Global -ErrorAction Stop).Name }
Watch-Caller 'Remove-PSDrive' { Remove-PSDrive $name -Force -ErrorAction Stop }
$network = New-Object -ComObject WScript.Network
Watch-Caller 'WScript.Network MapNetworkDrive' { $network.MapNetworkDrive($letter, $Remote, $false) }
Watch-Caller 'WScript.Network RemoveNetworkDrive' { $network.RemoveNetworkDrive($letter, $true, $true) }
Watch-Caller 'a persistent add (UPDATE_PROFILE)' { [Wnet]::Add('WNetAddConnection2W', $letter, $Remote, $null, $null, 1) }
# The letter goes, the remembered connection stays: what is left is to be restored.
[void][Wnet]::WNetCancelConnection2W($letter, 0, $true)
Watch-Caller 'WNetRestoreSingleConnectionW' { [Wnet]::Restore($letter) }
[void][Wnet]::WNetCancelConnection2W($letter, 1, $true)
Watch-Caller 'AddPrinterConnectionW' { [Wnet]::AddPrinter($Printer) }
$again = '-NoProfile', '-ExecutionPolicy', 'Bypass', '-File', $PSCommandPath, '-Call', 'add'
Watch-Caller 'WNetAddConnection2W, 32-bit' { & (Join-Path $env:SystemRoot "SysWOW64\$Shell") @again }
if ($env:PROCESSOR_ARCHITECTURE -eq 'ARM64') {
    Watch-Caller 'WNetAddConnection2W, emulated x64' { cmd.exe /c start /machine amd64 /b /wait powershell.exe @again }
}

# E2: the status of POST beside what the function returned.
$password = 'Aa1!' + [Guid]::NewGuid().ToString('N')
foreach ($user in $Users) { net.exe user $user $password /add /y | Out-Null }
$add = { param($remote, $user, $given, $flags, $local) [Wnet]::Add('WNetAddConnection2W', $local, $remote, $user, $given, $flags) }
Watch-Caller 'no such host' { & $add '\\mpr-otel-no-such-host\share' $null $null 0 $null }
Watch-Caller 'no such share' { & $add '\\localhost\mpr-otel-no-such-share' $null $null 0 $null }
Watch-Caller 'wrong password' { & $add $Remote ".\$($Users[0])" 'wrong' 0 $null }
Watch-Caller 'letter in use' { & $add $Remote $null $null 0 $Root.Substring(0, 2) }
Watch-Caller 'second credentials' {
    & $add $Remote $null $null 0 $letter
    & $add $Remote ".\$($Users[0])" $password 0 $null
    & $cancel
}
Watch-Caller 'cancel of what is not there' { [Wnet]::WNetCancelConnection2W($letter, 0, $true) }
Watch-Caller 'MPR chooses the letter (REDIRECT)' { [Wnet]::Add('WNetUseConnectionW', $null, $Remote, $null, $null, 0x80) }
[void][Wnet]::WNetCancelConnection2W($Remote, 0, $true)
foreach ($mapping in Get-SmbMapping | Where-Object RemotePath -eq $Remote) { [void][Wnet]::WNetCancelConnection2W($mapping.LocalPath, 0, $true) }

# E3: many threads at once. `thread.id` and `time.counter_ns` of the lines tell whether they waited for each other.
Watch-Caller 'eight threads at once' { [Wnet]::Together(8, '\\localhost\IPC$'); [Wnet]::WNetCancelConnection2W('\\localhost\IPC$', 0, $true) }

# E4: a connection that is made without contacting anybody.
Watch-Caller 'CONNECT_DEFERRED' { & $add '\\mpr-otel-no-such-host\share' $null $null 0x400 $letter; & $cancel }

# E5: SYSTEM maps a drive for each of two users, as Group Policy does.
foreach ($user in $Users) {
    Watch-Caller "SYSTEM as $user" {
        $words = "-NoProfile -ExecutionPolicy Bypass -File `"$PSCommandPath`" -Call as-user -User $user -Password $password"
        $action = New-ScheduledTaskAction -Execute (Join-Path $env:SystemRoot "System32\$Shell") -Argument $words
        Register-ScheduledTask 'mpr-otel-recorder' -Action $action -User 'S-1-5-18' -RunLevel Highest -Force | Out-Null
        Start-ScheduledTask 'mpr-otel-recorder'
        $answer = Join-Path $Folder "$user.txt"
        foreach ($second in 1..60) { if (Test-Path $answer) { break }; Start-Sleep 1 }
        Unregister-ScheduledTask 'mpr-otel-recorder' -Confirm:$false
        if (Test-Path $answer) { Get-Content $answer } else { 'no answer within a minute' }
    }
}
foreach ($user in $Users) { net.exe user $user /delete | Out-Null }

# E0: what does a DLL that is not there, or for other processors, cost a caller? A fresh process each.
function Measure-NetUse([string]$registered, [string]$path) {
    if ($path) { New-ItemProperty $Key 'mpr-otel-recorder-e0' -PropertyType ExpandString -Value $path -Force | Out-Null }
    Watch-Caller "ten times net use, $registered" {
        $times = foreach ($time in 1..10) {
            [int](Measure-Command { net.exe use '\\localhost\IPC$' 2>&1 | Out-Null }).TotalMilliseconds
            net.exe use '\\localhost\IPC$' /delete /y 2>&1 | Out-Null
        }
        "ms: $($times -join ' ')"
    }
    Remove-ItemProperty $Key 'mpr-otel-recorder-e0' -ErrorAction SilentlyContinue
}
Measure-NetUse 'nothing else registered' ''
Measure-NetUse 'a DLL that is not there' '%SystemRoot%\System32\mpr_otel_no_such.dll'
Measure-NetUse 'a DLL for 32 bits' "%SystemRoot%\SysWOW64\$File"

if ($ByHand) {
    $byHand = [ordered]@{
        "Explorer's wizard" = "In Explorer, This PC, Map network drive: map $letter to $Remote, not at sign-in, Finish."
        'Explorer, Disconnect' = "In Explorer, the menu of ${letter}: Disconnect."
        'red-X click' = "Map $letter to $Remote in Explorer, with reconnect at sign-in. Sign out and in, so that it shows a red X (stop the service LanmanServer before, start it after); then run this again and open $letter."
        'Group Policy drive maps' = 'On a domain member with a drive map in Group Policy Preferences: gpupdate /force, and sign out and in.'
        'CONNECT_INTERACTIVE' = 'net use * \\localhost\C$ /user:.\nobody, and give a wrong password twice.'
        'AddPrinterConnection' = 'In Explorer, open a print server and connect to a printer.'
    }
    foreach ($what in $byHand.Keys) {
        Write-Host "`n${what}: $($byHand[$what])"
        Watch-Caller $what { Read-Host 'Enter when it is done; a word if it could not be done' }
    }
}

if (Test-Path $Calls) { Copy-Item $Calls (Join-Path $Out 'calls.jsonl') -Force }
$rows = $results | ForEach-Object {
    '| {0} | {1} | {2}/{3} | {4}/{5} | {6} | {7} |' -f $_.caller, ($_.returned -replace '[|\r\n]+', ' '), $_.add_pre, $_.add_post, $_.cancel_pre, $_.cancel_post, $_.post_status, $_.programs
}
@("$($machine.product), build $($machine.build), $($machine.architecture), $($machine.when)", '',
    '| caller | returned | add PRE/POST | cancel PRE/POST | POST status | programs |', '|---|---|---|---|---|---|') + $rows |
    Set-Content (Join-Path $Out 'callers.md') -Encoding UTF8
"Results are in $Out. The recorder stays registered; run with -Remove to remove it."
if (@($results | Where-Object { $_.add_pre + $_.cancel_pre -gt 0 }).Count -eq 0) {
    Write-Warning 'Nobody was notified: was the DLL loaded at all? See "loaded" in callers.json.'
    exit 1
}
exit 0
