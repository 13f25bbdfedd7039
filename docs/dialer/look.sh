# A terminal beside a running agent: each line stands by itself.
ueagent call org.ueagent.Agent.Describe
ueagent status --once
ueagent call org.ueagent.Session.CreateOffer '{"signalling": "access", "binding": "home", "detached": true, "sdp": "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\n"}'
ueagent call org.ueagent.Agent.Status
ueagent call org.varlink.service.GetInterfaceDescription '{"interface": "org.ueagent.Session"}'
