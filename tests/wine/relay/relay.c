/* A collector as a service: listens on a free port of 127.0.0.1, and passes all that comes to another
 * port of it, where the test's receiver is.
 *
 *   relay.exe PORT FILE               passes to PORT, and writes the port that it listens on to FILE
 */
#include <winsock2.h>
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>

static SERVICE_STATUS_HANDLE manager;
static unsigned short target;
static wchar_t *port_file;

static void tell(DWORD state)
{
    SERVICE_STATUS status = {0};
    status.dwServiceType = SERVICE_WIN32_OWN_PROCESS;
    status.dwCurrentState = state;
    status.dwControlsAccepted = SERVICE_ACCEPT_STOP;
    SetServiceStatus(manager, &status);
}

static void WINAPI control(DWORD code)
{
    if (code == SERVICE_CONTROL_STOP) {
        tell(SERVICE_STOPPED);
        ExitProcess(0);
    }
}

static struct sockaddr_in here(unsigned short port)
{
    struct sockaddr_in address = {0};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
}

/* Passes on what there is to read. Whether there may be more. */
static int pass(SOCKET from, SOCKET to)
{
    char bytes[4096];
    int length = recv(from, bytes, sizeof bytes, 0);
    return length > 0 && send(to, bytes, length, 0) == length;
}

static DWORD WINAPI serve(void *accepted)
{
    SOCKET client = (SOCKET)accepted, server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = here(target);
    int open = !connect(server, (struct sockaddr *)&address, sizeof address);
    while (open) {
        fd_set ready;
        FD_ZERO(&ready);
        FD_SET(client, &ready);
        FD_SET(server, &ready);
        open = select(0, &ready, NULL, NULL, NULL) > 0
            && (!FD_ISSET(client, &ready) || pass(client, server))
            && (!FD_ISSET(server, &ready) || pass(server, client));
    }
    closesocket(client);
    closesocket(server);
    return 0;
}

static void WINAPI service_main(DWORD count, wchar_t **words)
{
    WSADATA data;
    SOCKET listening;
    struct sockaddr_in address = here(0);
    int length = sizeof address, alive, size = sizeof alive;
    FILE *file;
    (void)count;
    manager = RegisterServiceCtrlHandlerW(words[0], control);
    WSAStartup(MAKEWORD(2, 2), &data);
    listening = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 16)
        || getsockname(listening, (struct sockaddr *)&address, &length)) {
        tell(SERVICE_STOPPED);
        return;
    }
    /* Wine's table of sockets names only a process that has the socket's own file, as this brings. */
    getsockopt(listening, SOL_SOCKET, SO_KEEPALIVE, (char *)&alive, &size);
    file = _wfopen(port_file, L"w");
    fprintf(file, "%d\n", ntohs(address.sin_port));
    fclose(file);
    tell(SERVICE_RUNNING);
    for (;;) {
        SOCKET client = accept(listening, NULL, NULL);
        CloseHandle(CreateThread(NULL, 0, serve, (void *)client, 0, NULL));
    }
}

int wmain(int count, wchar_t **words)
{
    SERVICE_TABLE_ENTRYW table[] = {{L"", service_main}, {NULL, NULL}};
    if (count != 3) {
        return 2;
    }
    target = (unsigned short)wcstoul(words[1], NULL, 10);
    port_file = words[2];
    return !StartServiceCtrlDispatcherW(table);
}
